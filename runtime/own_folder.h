/* runtime/own_folder.h - where this code lies, for what is installed beside it.  Internal. */
#ifndef MUSTER_OWN_FOLDER_H
#define MUSTER_OWN_FOLDER_H

/* Thread: any.  The folder of the program or library that holds this code.  The caller frees; NULL: not known. */
char *muster__own_folder(void);

#endif
